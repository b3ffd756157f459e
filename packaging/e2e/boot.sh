#!/bin/bash
# boot.sh: boots Debian's systemd as PID 1 in namespaces, of which nothing is left afterwards. Such
# a machine is a rig. It needs root, util-linux, iproute2 and mmdebstrap, but no container engine,
# no KVM and no running systemd.
#
#   boot.sh rootfs           create the root that all rigs share (once, about a minute)
#   boot.sh up NAME          boot; returns when systemd has finished starting (about 0.3 s)
#   boot.sh run NAME CMD...  run CMD inside as root; stdin, stdout and the status pass through
#   boot.sh enter PID CMD... the same for who knows the rig's PID 1, which costs a third
#   boot.sh net NAME CMD...  run a program of the host in the rig's network
#   boot.sh leader NAME      print the host's number of the rig's PID 1, for /proc/PID/root and
#                            /proc/PID/ns/net
#   boot.sh down NAME        end the rig
#   boot.sh sweep            remove what killed rigs have left: empty cgroups, state directories
#
# RIG_SUITE   Debian's suite: bookworm (default), trixie, ...
# RIG_ROOTFS  the shared root, which is never changed once it exists, and is made again if other
#             packages are wanted; default: in the user's cache, one for each suite
# RIG_STATE   the state of rigs; default: in the user's cache
# RIG_TETHER  a process; when it dies, the rig dies
# RIG_SIZE    how much a rig may write, which is memory; default: 2g
# RIG_PREFIX  a command that executes its further arguments, which are the rig's first process
set -eu

cache=${XDG_CACHE_HOME:-$HOME/.cache}/tcpmux-e2e
RIG_SUITE=${RIG_SUITE:-bookworm}
export RIG_ROOTFS=${RIG_ROOTFS:-$cache/$RIG_SUITE}
export RIG_STATE=${RIG_STATE:-$cache/rigs}
export RIG_SIZE=${RIG_SIZE:-2g}
# The second line is what tests connect with. Debian does not install rsyslog next to syslog-ng, so
# it is unpacked, and its libraries are in the third line.
include=systemd,systemd-sysv,dbus,iproute2,procps
include=$include,haproxy,syslog-ng-core,socat,netcat-openbsd,nats-server
include=$include,libestr0,libfastjson4,liblognorm5
unpack=rsyslog
self=$(readlink -f "$0")

die() {
	echo "rig: $*" >&2
	exit 1
}

# namespaces fails if no rig can be made, for example in a container that may not mount.
namespaces() {
	[ "$(id -u)" -eq 0 ] || die "needs root"
	unshare --mount --pid --fork --net --uts --ipc --cgroup --propagation private --mount-proc true ||
		die "this machine allows no namespaces of their own for mounts, processes or network: no systemd can be booted here"
}

# cgroups prints where cgroup v2 is mounted. On a host with cgroup v1 it mounts one.
cgroups() {
	awk '$3 == "cgroup2" {print $2; exit}' /proc/self/mounts | grep . && return
	mkdir -p "$RIG_STATE/.cgroup"
	mount -t cgroup2 cgroup2 "$RIG_STATE/.cgroup"
	echo "$RIG_STATE/.cgroup"
}

# made reports whether the root exists, with the packages that are wanted now.
made() { [ "$(cat "$RIG_ROOTFS/.rig" 2>/dev/null)" = "$include $unpack" ]; }

rootfs() {
	made && return
	local new=$RIG_ROOTFS.new
	mkdir -p "$(dirname "$RIG_ROOTFS")"
	exec 9>"$RIG_ROOTFS.lock"
	flock 9 # two runs at the same time make it once
	if ! made; then
		rm -rf --one-file-system "$RIG_ROOTFS" "$new"
		echo "rig: making a root of Debian $RIG_SUITE in $RIG_ROOTFS" >&2
		mmdebstrap --quiet --variant=minbase --include="$include" --dpkgopt='path-exclude=/usr/share/doc/*' \
			--dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
			--customize-hook="cd \"\$1/opt\" && APT_CONFIG=\$MMDEBSTRAP_APT_CONFIG apt-get -qq -o APT::Sandbox::User=root download $unpack" \
			--customize-hook="set -e; for deb in \"\$1\"/opt/*.deb; do dpkg-deb --fsys-tarfile \"\$deb\" | tar -x --keep-directory-symlink -C \"\$1\"; rm \"\$deb\"; done" \
			"$RIG_SUITE" "$new" </dev/null 9>&-
		echo "$include $unpack" >"$new/.rig"
		mv -T "$new" "$RIG_ROOTFS"
	fi
	exec 9>&-
}

# A zombie is dead: its parent may reap it late.
alive() { [ -d "/proc/$1" ] && ! grep -qs '^State:.Z' "/proc/$1/status"; }
supervisor() { cat "$RIG_STATE/$1/supervisor" 2>/dev/null; }

# below PID prints the systemd that is PID 1 of its own namespace and a descendant of PID.
below() {
	local child
	while read -r -d ' ' child; do
		if [ "$(cat "/proc/$child/comm" 2>/dev/null)" = systemd ] &&
			grep -qs '^NSpid:.*[[:space:]]1$' "/proc/$child/status"; then
			echo "$child"
			return 0
		fi
		below "$child" && return 0
	done < <(cat "/proc/$1/task"/*/children 2>/dev/null)
	return 1
}
# It is looked up each time, as it changes when the rig reboots.
leader() { below "$(supervisor "$1")" || die "$1 is not up"; }

# enter PID CMD... executes CMD inside. With setsid, "kill 0" inside does not reach the caller's
# process group.
enter() {
	local pid=$1
	shift
	exec setsid --wait nsenter -t "$pid" -m -u -i -n -p -C -- env -i HOME=/root LANG=C.UTF-8 \
		PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
		SYSTEMD_PAGER= SYSTEMD_COLORS=0 DEBIAN_FRONTEND=noninteractive "$@"
}

up() {
	local name=$1 dir=$RIG_STATE/$1 sup pid state
	! alive "$(supervisor "$name" || echo none)" || die "$name is up"
	namespaces
	rootfs
	sweep
	rm -rf --one-file-system "${dir:?}"
	mkdir -p "$dir"
	setsid bash "$self" _supervise "$name" </dev/null >"$dir/log" 2>&1 &
	sup=$!
	for ((; ; )); do
		alive $sup || died "$name" "died while it booted"
		[ "$SECONDS" -lt 60 ] || { kill -9 $sup; died "$name" "has not booted in 60 s"; }
		if pid=$(below $sup); then
			state=$( (enter "$pid" systemctl is-system-running --wait) 2>/dev/null </dev/null) || true
			case $state in running | degraded) break ;; esac
		fi
		sleep 0.02
	done
	# It does not have our pipes, or their readers would wait for the rig's end.
	if [ -n "${RIG_TETHER:-}" ]; then
		setsid bash "$self" _tether "$name" $sup "$RIG_TETHER" </dev/null >/dev/null 2>&1 &
	fi
}
died() {
	cat "$RIG_STATE/$1/log" >&2
	die "$1 $2"
}
_tether() {
	while alive "$2" && alive "$3"; do sleep 1; done
	kill -9 "$2" 2>/dev/null || true
	wipe "$1" "$2"
}

# The supervisor, first in its own cgroup, then in its own namespaces.
_supervise() {
	local name=$1 cgroup
	cgroup=$(cgroups)/rig-$name-$$
	mkdir "$cgroup"
	echo $$ >"$cgroup/cgroup.procs"
	echo $$ >"$RIG_STATE/$name/supervisor"
	exec unshare --mount --propagation private --uts --ipc --cgroup --net bash "$self" _machine "$name"
}

# The same process makes the machine and boots it, again whenever systemd asks for a reboot.
_machine() {
	local name=$1 dir=$RIG_STATE/$1 root=$RIG_STATE/$1/root status
	mount -t cgroup2 cgroup2 /sys/fs/cgroup # its root is our cgroup; it hides a v1 tree
	ip link set lo up
	echo 512 >/proc/sys/net/unix/max_dgram_qlen # as PID 1 does on hardware
	mount -t tmpfs -o "mode=755,size=$RIG_SIZE" rig "$dir"
	mkdir "$dir/upper" "$dir/work" "$root"
	echo $$ >"$dir/supervisor"
	mount -t overlay overlay -o "lowerdir=$RIG_ROOTFS,upperdir=$dir/upper,workdir=$dir/work" "$root"
	furnish "$root" "$name"
	for ((; ; )); do
		status=0
		# With pdeathsig and kill-child, kill -9 of this shell ends the process namespace.
		setpriv --pdeathsig KILL unshare --mount --propagation private --pid --fork --kill-child=KILL --mount-proc \
			bash "$self" _boot "$root" || status=$?
		[ $status -eq 129 ] || exit $status # SIGHUP: reboot(2) in a process namespace
	done
}

# furnish ROOT NAME disables what waits, needs hardware or would write to the host's kernel.
furnish() {
	local unit etc=$1/etc
	mkdir -p "$etc/systemd/system" "$etc/systemd/journald.conf.d" "$1/var/log/journal"
	for unit in systemd-{networkd,resolved,timesyncd,modules-load,sysctl,remount-fs,binfmt,pstore,update-utmp}.service \
		systemd-udevd.service systemd-udev-trigger.service systemd-udevd-{control,kernel}.socket \
		systemd-update-utmp-runlevel.service console-getty.service getty.target \
		dev-hugepages.mount sys-fs-fuse-connections.mount sys-kernel-{config,debug,tracing}.mount \
		proc-sys-fs-binfmt_misc.automount {apt-daily,apt-daily-upgrade,dpkg-db-backup,e2scrub_all,fstrim}.timer; do
		ln -sf /dev/null "$etc/systemd/system/$unit"
	done
	rm -f "$etc/systemd/system/multi-user.target.wants"/{haproxy,syslog-ng,nats-server}.service # tests start them
	ln -sf /lib/systemd/system/multi-user.target "$etc/systemd/system/default.target"
	rm -f "$etc/machine-id" "$etc/resolv.conf"
	: >"$etc/machine-id"
	: >"$etc/resolv.conf"
	: >"$etc/fstab"
	echo "$2" >"$etc/hostname"
	printf '[Journal]\nStorage=persistent\nRateLimitIntervalSec=0\nReadKMsg=no\n' >"$etc/systemd/journald.conf.d/rig.conf"
}

# The first process of the rig, before it becomes systemd: it mounts what a kernel, an initrd or a
# container engine would mount.
_boot() {
	local root=$1 name
	mount -t proc -o nosuid,nodev,noexec proc "$root/proc"
	mount -t sysfs -o ro,nosuid,nodev,noexec sysfs "$root/sys"
	mount -t tmpfs -o mode=755,nosuid,strictatime,size=4m dev "$root/dev"
	for name in null zero full random urandom tty; do
		: >"$root/dev/$name"
		mount --bind "/dev/$name" "$root/dev/$name"
	done
	mkdir "$root"/dev/{pts,shm,mqueue}
	mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts "$root/dev/pts"
	ln -s pts/ptmx "$root/dev/ptmx"
	ln -s /proc/self/fd "$root/dev/fd"
	ln -s fd/0 "$root/dev/stdin"
	ln -s fd/1 "$root/dev/stdout"
	ln -s fd/2 "$root/dev/stderr"
	mount -t tmpfs -o mode=1777,nosuid,nodev shm "$root/dev/shm"
	mount -t tmpfs -o mode=755,nosuid,nodev run "$root/run"
	mount -t tmpfs -o mode=1777,nosuid,nodev tmp "$root/tmp"
	# The kernel is the host's too: it may be read, and not changed.
	for name in sys irq bus fs sysrq-trigger; do
		[ -e "$root/proc/$name" ] || continue
		mount --bind "$root/proc/$name" "$root/proc/$name"
		mount -o remount,bind,ro "$root/proc/$name"
	done
	mount --bind "$root/proc/sys/net" "$root/proc/sys/net" # only of our network
	mount -o remount,bind,rw "$root/proc/sys/net"
	replace "$root/proc/kmsg" "" "$root"
	# For journalctl -b.
	replace "$root/proc/sys/kernel/random/boot_id" "$(cat /proc/sys/kernel/random/uuid)" "$root"
	mkdir -p /sys/fs/cgroup/payload
	echo $$ >/sys/fs/cgroup/payload/cgroup.procs
	# The cgroup namespace is made within payload, which systemd then takes for the root.
	# shellcheck disable=SC2086 # a command and its arguments
	exec ${RIG_PREFIX:-} unshare --cgroup bash "$self" _init "$root"
}
# replace FILE TEXT ROOT mounts a file without a name, which contains TEXT, over a file.
replace() {
	echo "$2" >"$3/run/text"
	mount --bind "$3/run/text" "$1"
	rm "$3/run/text"
}
_init() {
	mount -t cgroup2 -o nosuid,nodev,noexec cgroup2 "$1/sys/fs/cgroup"
	cd "$1"
	mkdir -p .old
	pivot_root . .old
	umount -l /.old
	rmdir /.old
	mount --make-rshared / # in a container PID 1 leaves that to its manager
	exec env -i container=rig PATH=/usr/sbin:/usr/bin:/sbin:/bin setpriv --bounding-set \
		-sys_module,-sys_time,-sys_rawio,-syslog,-audit_control,-mac_admin,-mac_override,-block_suspend,-wake_alarm,-sys_pacct \
		/lib/systemd/systemd --log-target=journal
}

down() {
	local sup
	sup=$(supervisor "$1") || return 0
	kill -9 "$sup" 2>/dev/null || true
	wipe "$1" "$sup"
}

empty() { ! grep -qs '^populated 1' "$1/cgroup.events"; }

# wipe NAME SUPERVISOR removes what a rig has left whose supervisor is dead.
wipe() {
	local cgroup i
	cgroup=$(cgroups)/rig-$1-$2
	for ((i = 0; i < 500; i++)); do
		empty "$cgroup" && break
		sleep 0.01
	done
	[ ! -d "$cgroup" ] || find "$cgroup" -depth -type d -exec rmdir {} \; 2>/dev/null || true
	[ "$(supervisor "$1")" != "$2" ] || rm -rf --one-file-system "${RIG_STATE:?}/$1"
}

sweep() {
	local cgroup name sup
	for cgroup in "$(cgroups)"/rig-*-*; do
		[ -d "$cgroup" ] || continue
		name=${cgroup##*/rig-}
		sup=${name##*-}
		if empty "$cgroup" && ! alive "$sup"; then wipe "${name%-*}" "$sup"; fi
	done
}

[ $# -gt 0 ] || {
	sed -n '2,/^set -eu/{/^#/p}' "$self"
	exit 64
}
verb=$1
shift
case $verb in
up | leader | enter | down | sweep | _supervise | _machine | _boot | _init | _tether) "$verb" "$@" ;;
rootfs)
	namespaces # before a minute is wasted
	rootfs
	;;
run)
	pid=$(leader "$1")
	shift
	enter "$pid" "$@"
	;;
net)
	pid=$(leader "$1")
	shift
	exec nsenter -t "$pid" -n -- "$@"
	;;
*) die "unknown verb \"$verb\"" ;;
esac
