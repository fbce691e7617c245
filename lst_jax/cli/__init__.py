"""The `lst` command: one file per subcommand. Each file declares arguments and makes one call."""
