"""Report on a compiled model in one page that needs nothing else: typed records, and how a browser shows them."""
