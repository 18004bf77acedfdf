"""Takes secrets out of text before it is recorded: keys, tokens, passwords. Imports no torch.

What cannot be told from other text, such as a password alone on a line, is found only if a variable of
the environment holds it under a name that says so.
"""

import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = [
    "REDACTED",
    "holds_secrets",
    "redacted",
    "redacted_values",
    "secret_values",
    "without_credentials",
]

REDACTED = "[redacted]"

_WORDS = (
    "access_?key|api_?key|apikey|auth|client_?secret|credential|credentials|passphrase|passwd|"
    "password|private_?key|pwd|secret|secret_?key|token"
)
_PLAIN_WORDS = "password|passwd|passphrase|secret|token|apikey|credential"
"""Those that say enough at the end of a longer word, as in ``PGPASSWORD``."""
_NAMES = re.compile(rf"(?i)(?:(?:^|_)(?:{_WORDS}|key|pass|pat)|{_PLAIN_WORDS}|sshpass)s?(?:_|$|\d)")
"""Names of environment variables whose values are secret."""
_SHORTEST = 6
"""A shorter value of such a variable, as in ``USE_TOKEN=1``, occurs in harmless text too."""

_CREDENTIALS = re.compile(r"(?<=://)[^/?#\s'\"]+@")
_IN_QUERY = re.compile(rf"(?i)([?&](?:{_WORDS}|sig|signature|key)=)[^&\s'\"#]+")
_ASSIGNED = re.compile(
    rf"(?i)((?:(?<![a-z])(?:[\w.-]*[_.-])?(?:{_WORDS})|[\w.-]*(?:{_PLAIN_WORDS}))s?[\"']?\s*(?::=|:|=>|=(?!=))\s*)"
    r"(\[redacted\]|\"[^\"\n]*\"|'[^'\n]*'|[^\s,;&)\]}]+)"
)
_HARMLESS = re.compile(
    rf"""(?ix) [\"']{{0,2}} (?:
    | {_WORDS} | none | null | true | false | auto | yes | no | str | int | bytes | \d{{1,5}}
    | \[redacted\] | \$\{{[^}}]*\}}? | <[^>]*>? | [a-z_][\w.]*[\[(].*
    | (?:self|os|args|config|cfg)\.[\w.]+
    ) [\"']{{0,2}}"""
)
"""Values that name or fetch a secret, or are none: ``os.environ["KEY"]``, ``None``, ``${TOKEN}``."""
_SECRET_OPTIONS = re.compile(
    r"""(?xi) (?:.*[./+])? (?:
    (?:[a-z]+_)? (?:password | passwd | passphrase | secret | credentials?)
    | (?:[a-z]+_)? (?:api|access|secret|private)_?key
    | (?:(?:access|api|auth|bearer)_)? token
    )"""
)
_BEARER = re.compile(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/-]{8,}=*")
_TOKENS = re.compile(
    r"""(?x)
    \b(?:AKIA|ASIA)[0-9A-Z]{16}\b                       # Amazon
    | \bAIza[\w-]{35}                                   # Google
    | \bgh[pousr]_\w{20,} | \bgithub_pat_\w{20,}        # GitHub
    | \bglpat-[\w-]{16,}                                # GitLab
    | \bhf_[A-Za-z0-9]{20,}                             # Hugging Face
    | \bsk-[\w-]{20,} | \b[rs]k_(?:live|test)_\w{16,}   # OpenAI and others, Stripe
    | \bpypi-[\w-]{40,} | \bnpm_\w{30,}                 # package indexes
    | \bxox[abeoprs]-[\w-]{10,}                         # Slack
    | (?<=hooks\.slack\.com/)[\w/-]{20,}                # Slack's, Discord's and Teams's webhooks
    | (?<=/api/webhooks/)\d+/[\w-]{20,} | (?<=/webhookb2/)[\w@/-]{20,}
    | \bdapi[0-9a-f]{32}\b                              # Databricks
    | \beyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]*              # JSON web tokens
    """
)
_KEY_BLOCK = re.compile(
    r"-----BEGIN ([A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?)-----.*?(?:-----END \1-----|\Z)", re.DOTALL
)

_SECRET_FILES = re.compile(
    r"""(?xi)
    \.env(?:\..+)? | .+\.env | \.envrc | \.netrc | \.pgpass | \.pypirc | \.npmrc | \.htpasswd
    | .*\.(?:pem|key|p12|pfx|jks|keystore|kdbx|asc|gpg|ppk) | id_(?:rsa|dsa|ecdsa|ed25519).*
    | (?:[\w.-]*[._-])?(?:credential|secret|password)s?
      (?: | (?:[_-][\w-]*)?\.(?:json|ya?ml|toml|ini|cfg|conf|txt|csv))
    | kubeconfig | service[._-]account.*\.json | \.git-credentials
    """
)
_CODE = (".py", ".pyi", ".md", ".rst", ".ipynb")


def holds_secrets(path: str) -> bool:
    """Whether a file of this name, such as ``.env`` or ``id_rsa``, is there to hold secrets."""
    name = path.rpartition("/")[2]
    return not name.endswith(_CODE) and _SECRET_FILES.fullmatch(name) is not None


def without_credentials(text: str) -> str:
    """Return ``text`` with user names, passwords and tokens taken out of its addresses."""
    return _CREDENTIALS.sub("", text)


def redacted(text: str, secrets: Sequence[str] | None = None) -> str:
    """Return ``text`` with what looks like a secret replaced by ``[redacted]``.

    Found are credentials in addresses, private keys, tokens of well-known forms, values that are
    assigned to a name such as ``password``, and the values of environment variables so named.

    Args:
        text: any text; a patch stays one, its lines keep their first characters and number unless a
            private key spans them.
        secrets: values to take out wherever they are; None asks ``secret_values``, which takes time.
    """
    text = _KEY_BLOCK.sub(rf"-----\1 {REDACTED}-----", text)
    for value in secret_values() if secrets is None else secrets:
        text = text.replace(value, REDACTED)
    return _ASSIGNED.sub(_assigned, _patterns(text))


def redacted_values(values: Any) -> Any:
    """Return plain values (mappings, lists, scalars) with the secrets taken out of every text.

    A value is secret by its name only where the name leaves no doubt (``password``, ``api_key``), in
    mappings and in texts such as ``data.password=x``: ``pad_token`` is an honest option.
    """
    secrets = secret_values()

    def clean(value: Any, name: str = "") -> Any:
        if isinstance(value, Mapping):
            return {key: clean(each, str(key)) for key, each in value.items()}
        if isinstance(value, (list, tuple)):
            return [clean(each, name) for each in value]
        if not isinstance(value, str):
            return value
        if value and _SECRET_OPTIONS.fullmatch(name):
            return REDACTED
        key, equals, rest = value.partition("=")
        if equals and rest and _SECRET_OPTIONS.fullmatch(key):
            return f"{key}={REDACTED}"
        for secret in secrets:
            value = value.replace(secret, REDACTED)
        return _patterns(value)

    return clean(values)


def _patterns(text: str) -> str:
    """Take out what is a secret by its own form or place."""
    text = _IN_QUERY.sub(rf"\1{REDACTED}", without_credentials(text))
    return _BEARER.sub(rf"\1 {REDACTED}", _TOKENS.sub(REDACTED, text))


def _assigned(found: re.Match[str]) -> str:
    if _HARMLESS.fullmatch(found[2]):
        return found[0]
    quote = found[2][0] if found[2][0] in "\"'" else ""
    return f"{found[1]}{quote}{REDACTED}{quote}"


def secret_values() -> list[str]:
    """Return what environment variables hold that are named like secrets.

    Long ones come first, as one may hold another. Paths are no secrets, what they lead to is.
    """
    values = {
        line
        for name, value in os.environ.items()
        if _NAMES.search(name)
        for line in (value, *value.splitlines())
        if len(line) >= _SHORTEST and not os.path.exists(line)
    }
    return sorted(values, key=len, reverse=True)
