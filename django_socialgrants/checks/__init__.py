"""System checks: what is wrong is told by `manage.py check`, each mistake under an id of its own.

No check raises, shows a secret, or asks a database unless `--database` names it: those that ask one have no
other tag, as Django 6.1 hands all databases to whatever is chosen by its tag.
"""
