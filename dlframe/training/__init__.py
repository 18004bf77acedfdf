"""From a config to a fitted model: parts, loop, checkpoints, multi-device, reloading."""
