"""The PACS's door: studies arrive, rules choose what runs on them, results go back, and nothing is ever stuck."""
