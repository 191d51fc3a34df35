"""What befalls data that nobody trained for: corruptions that no policy contains.

They are kept apart from the operations of policies, and are the same for every arm and seed.
"""
