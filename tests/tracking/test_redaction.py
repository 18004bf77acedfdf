import pytest

from dlframe.tracking.redaction import (
    holds_secrets,
    redacted,
    redacted_values,
    without_credentials,
)


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("https://user:pw@host/x", "https://host/x"),
        ("https://token@host:5000", "https://host:5000"),
        ("tracking.uri=http://a:b@h run@x", "tracking.uri=http://h run@x"),
        ("git@github.com:a/b.git", "git@github.com:a/b.git"),
        ("https://host/a@b", "https://host/a@b"),
        ("http://me:p@ss@host:5000/x", "http://host:5000/x"),
        ("http://host?mail=me@there", "http://host?mail=me@there"),
    ],
)
def test_credentials_leave_addresses(text: str, clean: str) -> None:
    assert without_credentials(text) == clean


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("PASSWORD = 'hunter2 hunter2'", "hunter2"),
        ('+    "api_key": "q8w7e6r5",', "q8w7e6r5"),
        ("db_password: Tr0ub4dor", "Tr0ub4dor"),
        ("aws_secret_access_key=wJalrXUtnFEMI/K7MDENG", "wJalr"),
        ("Authorization: Bearer abcdef0123456789", "abcdef0123456789"),
        ("curl https://h/x?page=2&token=zzz999&y=1", "zzz999"),
        ("AKIAIOSFODNN7EXAMPLE in a line", "AKIAIOSFODNN7EXAMPLE"),
        ("x = ghp_0123456789abcdefghijklmnop", "ghp_0123"),
        ("hf_abcdefghijklmnopqrstuvwx", "hf_abc"),
        ("PGPASSWORD=hunter22 psql", "hunter22"),
        ("dbpassword='hunter22'", "hunter22"),
        ("userPassword = 'hunter22'", "hunter22"),
        ("https://hooks.slack.com/services/T0AAAAAAA/B0BBBBBBB/abcdef012345", "B0BBBBBBB"),
        ("https://discord.com/api/webhooks/123456789/abcdefghijklmnopqrstuvwxyz", "abcdefgh"),
        ("sk-proj-abcdefghijklmnopqrstuvwxyz", "sk-proj"),
        ("eyJhbGciOiJI.eyJzdWIiOiIx.c2ln", "eyJzdWIiOiIx"),
        ("+-----BEGIN RSA PRIVATE KEY-----\n+MIIEow\n+-----END RSA PRIVATE KEY-----", "MIIEow"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNz and cut off", "b3BlbnNz"),
    ],
)
def test_what_looks_like_a_secret_is_taken_out(text: str, secret: str) -> None:
    assert secret in text
    assert secret not in redacted(text)
    assert redacted(redacted(text)) == redacted(text)


@pytest.mark.parametrize(
    "text",
    [
        "max_tokens = 512",
        "password_length = n_letters + 2",
        "tokenizer = AutoTokenizer.from_pretrained(name)",
        'token = os.environ["HF_TOKEN"]',
        "def login(password: str, token: Token | None = None) -> None:",
        "if password == other:",
        "authors = ['A. Author']",
        "key = jax.random.key(0)",
        "password=${DB_PASSWORD}",
        "loss 0.31 at step 20: accuracy 0.9",
    ],
)
def test_ordinary_text_stays(text: str) -> None:
    assert redacted(text) == text


def test_values_of_secret_variables_are_found_anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "plain words 123")
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "harmless")
    monkeypatch.setenv("MY_TOKEN", "1")
    for number, name in enumerate(("PGPASSWORD", "GITHUBTOKEN", "SSHPASS", "DBPASSWORD")):
        monkeypatch.setenv(name, f"letters-{number}")
    monkeypatch.setenv("COMPASS", "northern")
    text = (
        "said plain words 123 once, harmless, 1, northern, letters-0 letters-1 letters-2 letters-3"
    )
    clean = (
        "said [redacted] once, harmless, 1, northern, [redacted] [redacted] [redacted] [redacted]"
    )
    assert redacted(text) == clean
    assert redacted_values({"a": ["plain words 123"]}) == {"a": ["[redacted]"]}


def test_an_option_is_secret_only_under_a_clear_name() -> None:
    given = {
        "data": {"password": "x1", "pad_token": "<pad>", "url": "https://u:p@h/d"},
        "loss.api_key": "x2",
        "n": 3,
        "words": ["data.password=x3", "tokenizer.token=4", "model.pad_token=<p>"],
    }
    assert redacted_values(given) == {
        "data": {"password": "[redacted]", "pad_token": "<pad>", "url": "https://h/d"},
        "loss.api_key": "[redacted]",
        "n": 3,
        "words": ["data.password=[redacted]", "tokenizer.token=[redacted]", "model.pad_token=<p>"],
    }


def test_files_that_hold_secrets_are_known_by_name() -> None:
    for name in (".env", "prod.env", ".env.local", "a/id_rsa", "secrets.yaml", "tls/server.key",
                 "credentials.json", ".netrc", "service-account-7.json", "my_secret.txt"):  # fmt: skip
        assert holds_secrets(name), name
    for name in ("secrets.py", "a.py", "environment.yaml", "keys.md", "secretary.csv", "key.txt"):
        assert not holds_secrets(name), name
