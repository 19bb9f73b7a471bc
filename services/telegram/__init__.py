"""Telegram: what bots tell their owners on the phone, and what owners may answer."""
