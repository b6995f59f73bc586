"""OK.ru, Platform@Mail.Ru, VK ID and Mail ID, played on localhost: log in without registering anything anywhere.

Where to start reading: `networks` holds the rules by which they differ, `authorize` the dialog, `exchange`
the token requests, `ok_rest`, `mailru_rest` and `vkid_rest` the calls, `failures` what they do wrong when a site
rehearses an outage. It is a server: it never imports what the package
knows as a client (only `providers` does, to point the two clients here), so that a mistake on one side
can't hide behind the same mistake on the other.

For development only: everything in it is made up, its secrets are stored in plain text, and it answers 404
as soon as DEBUG is off.
"""
