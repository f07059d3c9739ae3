"""Copy of a finalized package to another store, with the same name, metadata, retention class, entries and tree digest.

The schema of the package is registered in the other store if that lacks it, and parents are named that it has too.
Annotations are carried over before the copy is finalized, and tags afterwards if that is asked for. Both are said again
in a repeated call, which writes nothing where the other store says the same.

Before anything is written, the entries are compared with the tree digest that the finalization recorded. Contents that
the other store has are not read. Each of the others is compared with its digest when it is read, and again when it is
stored. Before the copy is finalized, its entries are compared with the package's tree digest.

The idempotency key of the copy follows from the manifest digest of the package. So a repeated call continues an
interrupted copy, or finds the finished one.
"""

from artifactstore.package_copy.copying import SameStore, copy_package
from artifactstore.package_copy.filling import OtherStore
from artifactstore.package_copy.lineage import SchemaDiffers
from artifactstore.package_copy.original import CopyDiffers, Original, original

__all__ = ["CopyDiffers", "Original", "OtherStore", "SameStore", "SchemaDiffers", "copy_package", "original"]
