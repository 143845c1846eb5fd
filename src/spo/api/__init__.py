"""Kinds of the API as msgspec structs; the CRDs are generated from them."""
