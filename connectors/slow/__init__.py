"""Slow data: economic series, news and posts, polled politely onto topics of their own, and what is made of them."""
