"""Writes k8s/dashboards/; a person runs ``python -m dashboards`` when a test says that a file is old.

In: `dashboards.files`. Out: the files.
"""

from dashboards.files import FOLDER, files

if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, text in files().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
        print(f"wrote {FOLDER / name}")
