"""Remove the data that lives outside `var/`: `python -m quarry_local.clean`, run by `make clean`."""

from quarry_local.layout import find_layout
from quarry_local.servers.accounts import remove_folder

if __name__ == "__main__":
    remove_folder(find_layout().var / "postgres")
