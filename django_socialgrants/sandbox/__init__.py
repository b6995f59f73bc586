"""OK.ru and Platform@Mail.Ru, played on localhost: log in without registering anything anywhere.

Where to start reading: `networks` holds the rules in which the two differ, `authorize` the dialog, `exchange`
the token requests, `ok_rest` and `mailru_rest` the signed calls, `failures` what they do wrong when a site
rehearses an outage. It is a server: it never imports what the package
knows as a client (only `providers` does, to point the two clients here), so that a mistake on one side
can't hide behind the same mistake on the other.

For development only: everything in it is made up, its secrets are stored in plain text, and it answers 404
as soon as DEBUG is off.
"""
