"""The console: pages, REST and WebSocket of one process that watches bots and commands them. It decides nothing."""
