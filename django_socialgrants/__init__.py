"""Login with OK and Login with Mail.Ru for Django, with tokens that are kept encrypted and fresh.

Where to start reading: `oauth` is what RFC 6749 says, `providers` what each network says, `flows` what
this package decides; `api` is what a site calls.
"""
