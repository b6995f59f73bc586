"""What we decide: who may finish a login, who somebody is, what is stored."""
