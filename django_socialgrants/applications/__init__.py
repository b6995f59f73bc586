"""The applications that a site's settings declare: read, stored, and looked over for what is probably wrong."""
