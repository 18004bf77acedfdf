"""Every run recorded: a local spool written by training, delivered to MLflow by another process."""
