"""A simulator of the SharePoint-lists slice of Microsoft Graph, over real HTTP, in its own process.

It is run (`python -m graphsim`), never imported by the product, and imports nothing of the product: the two must not
share a misunderstanding. What it models, from which source, and every switch: `docs/graphsim.md`.
"""
