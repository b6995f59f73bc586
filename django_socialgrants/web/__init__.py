"""What the web sees: the views, what networks send back through a browser, and our pages."""
