"""System checks: what is wrong is told by `manage.py check`, each mistake under an id of its own.

No check raises, shows a secret, or asks a database unless `--database` names it.
"""
