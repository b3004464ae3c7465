"""Where workers live: on this machine (``local``), or on somebody else's engine."""
