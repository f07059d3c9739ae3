# Run a command as a container does: process 1, a user id that nobody has, and nothing writable but /mnt/data and /tmp.
#
# Usage: unshare --pid --fork --mount --mount-proc sh contained.sh DATA PYTHON CHECKOUT COMMAND...
#
# /mnt/data is the directory DATA. The interpreter's directory and the checkout stay where they are. Where only its
# owner may go into a directory above them, that one is replaced by an empty one with nothing else in it.
set -eu
mount --make-rprivate /
mount -t tmpfs -o mode=0755 tmpfs /mnt
for name in data python checkout; do
  mkdir "/mnt/$name"
done
mount --bind "$1" /mnt/data
mount --bind "$2" /mnt/python
mount --bind "$3" /mnt/checkout
python=$2 checkout=$3
shift 3

open_way() { # PATH KEPT
  closed='' above=$1
  while [ "$above" != / ]; do
    above=$(dirname "$above")
    case $(stat -c %A "$above" 2>/dev/null) in *x | *t | '') ;; *) closed=$above ;; esac
  done
  [ -z "$closed" ] || mount -t tmpfs -o mode=0755 tmpfs "$closed"
  [ -d "$1" ] || { mkdir -p "$1" && mount --bind "$2" "$1"; }
}

mount -t tmpfs -o mode=1777 tmpfs /tmp
open_way "$python" /mnt/python
open_way "$checkout" /mnt/checkout
mount -o remount,bind,ro /mnt
mount -o remount,bind,ro /
exec setpriv --reuid 54321 --regid 0 --clear-groups --no-new-privs "$@"
