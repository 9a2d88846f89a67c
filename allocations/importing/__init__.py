"""How a cluster's usage comes in.

A file is received and kept (`receiving`, `stored_files`); its row waits for a worker, which takes it up with a lease
(`working`, nudged by `tasks`), reads it and enters it into the books in one transaction (`booking`).
"""
