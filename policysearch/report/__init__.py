"""What is told about policies and runs: words, pictures, tables. It trains nothing."""
