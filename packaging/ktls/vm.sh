#!/bin/bash
# vm.sh: boots a kernel of Debian in QEMU, without KVM, and runs a test program there. Kernel TLS is
# a module of the kernel, which the machine that tests run on may not have. Use it by "make
# e2e-ktls".
#
#   vm.sh kernel          get the kernel and the tools of the suite, unless they are there
#   vm.sh image FILE...   make the initramfs, which has the files in /usr/bin. It gets the kernel
#                         and the tools of the suite (once, about 10 s; that needs root).
#   vm.sh boot CONSOLE [NAME=VALUE...]
#                         boot; the program's output goes to standard output, the kernel's to the
#                         file CONSOLE. What init does is said there (it takes KTLS_MODULE and
#                         KTLS_RUN); each variable is in the program's environment too.
#
# KTLS_SUITE    Debian's suite: bookworm (default), trixie, ...
# KTLS_KERNEL   where its kernel and tools are; default: in the user's cache. They are got again if
#               other packages are wanted; remove the directory to have the suite's newest kernel.
# KTLS_BUILD    where the initramfs is; default: build/ktls of this tree
# KTLS_SECONDS  how long a machine may live; default: 900. Tests have a minute less
set -eu

cache=${XDG_CACHE_HOME:-$HOME/.cache}/tcpmux-e2e
KTLS_SUITE=${KTLS_SUITE:-bookworm}
KTLS_KERNEL=${KTLS_KERNEL:-$cache/$KTLS_SUITE-kernel}
# What tests can execute. What these depend on comes with them.
include=busybox-static,openssl
kernel=linux-image-cloud-amd64
here=$(dirname "$(readlink -f "$0")")
KTLS_BUILD=${KTLS_BUILD:-$here/../../build/ktls}
KTLS_SECONDS=${KTLS_SECONDS:-900}
initrd=$KTLS_BUILD/$KTLS_SUITE.initrd

die() {
	echo "vm: $*" >&2
	exit 1
}

# archive prints the working directory as an initramfs. Several may follow each other in one file.
archive() { find . -mindepth 1 | LC_ALL=C sort | cpio --quiet --create --format=newc --owner=+0:+0; }

# made reports whether kernel and tools are there, with the packages that are wanted now.
made() { [ "$(cat "$KTLS_KERNEL/wanted" 2>/dev/null)" = "$include $kernel" ]; }

kernel() {
	made && return
	local new=$KTLS_KERNEL.new
	[ "$(id -u)" -eq 0 ] || die "needs root to get the kernel of Debian $KTLS_SUITE"
	mkdir -p "$(dirname "$KTLS_KERNEL")"
	exec 9>"$KTLS_KERNEL.lock"
	flock 9 # two runs at the same time get it once
	if ! made; then
		echo "vm: getting the kernel of Debian $KTLS_SUITE into $KTLS_KERNEL" >&2
		rm -rf --one-file-system "$KTLS_KERNEL" "$new"
		mkdir "$new"
		unpack "$new" 9>&-
		furnish "$new"
		rm -rf --one-file-system "$new/root" "$new/image"
		echo "$include $kernel" >"$new/wanted"
		mv -T "$new" "$KTLS_KERNEL"
	fi
	exec 9>&-
}

# unpack DIR unpacks the tools into DIR/root and the kernel into DIR/image. Nothing is installed: the
# kernel's package would want what makes a machine bootable.
unpack() {
	# shellcheck disable=SC2016 # for the shell that mmdebstrap starts
	mmdebstrap --quiet --architectures=amd64 --variant=extract --include="$include" \
		--setup-hook='cd "$1" && mkdir -p usr/bin usr/sbin usr/lib usr/lib64 && for dir in bin sbin lib lib64; do ln -s usr/$dir $dir; done' \
		--extract-hook="set -e; cd \"\$1\"; export APT_CONFIG=\$MMDEBSTRAP_APT_CONFIG
			image=\$(apt-cache depends $kernel | awk '\$1 == \"Depends:\" {print \$2; exit}')
			apt-get -qq -o APT::Sandbox::User=root download \"\$image\"" \
		"$KTLS_SUITE" "$1/root" </dev/null
	mv "$1"/root/linux-image-*.deb "$1/kernel.deb"
	dpkg-deb --extract "$1/kernel.deb" "$1/image"
	rm "$1/kernel.deb"
}

# furnish DIR makes of that DIR/vmlinuz, DIR/release and DIR/base.cpio, which has the tools and the
# modules for TLS and for what it encrypts with.
furnish() {
	local root=$1/root modules release dir
	modules=$(find "$1/image" -path '*/lib/modules/*' -name modules.builtin -printf '%h\n')
	release=${modules##*/}
	mkdir -p "$root/usr/lib/modules/$release"
	for dir in net/tls crypto arch/x86/crypto lib; do
		[ ! -d "$modules/kernel/$dir" ] || (cd "$modules" && cp -r --parents "kernel/$dir" "$root/usr/lib/modules/$release")
	done
	cp "$modules"/modules.{builtin*,order} "$root/usr/lib/modules/$release"
	find "$root/usr/lib/modules" -name '*.ko.xz' -exec xz --decompress {} +
	/usr/sbin/depmod --basedir "$root" "$release"
	[ -e "$root/usr/lib/modules/$release/kernel/net/tls/tls.ko" ] || die "the kernel $release of Debian $KTLS_SUITE has no module tls"

	rm -rf "${root:?}"/{dev,tmp,var} "$root"/etc/{apt,resolv.conf} "$root"/usr/share/{doc,locale,man} "$root"/usr/lib/*/gconv
	mkdir "$root"/{dev,proc,root,run,sys,tmp,var}
	ln -s busybox "$root/usr/bin/sh"
	printf '%s:x:%d:%d::/:/bin/sh\n' root 0 0 tcpmux 900 900 nobody 65534 65534 >"$root/etc/passwd"
	printf '%s:x:%d:\n' root 0 tcpmux 900 nogroup 65534 >"$root/etc/group"
	echo '127.0.0.1 localhost' >"$root/etc/hosts"
	(cd "$root" && archive) >"$1/base.cpio"
	cp "$(find "$1/image" -name 'vmlinuz-*')" "$1/vmlinuz"
	echo "$release" >"$1/release"
}

image() {
	kernel
	local payload=$initrd.payload
	rm -rf "$payload"
	mkdir -p "$payload/usr/bin"
	install -m 0755 "$here/init" "$payload/init"
	install -m 0755 "$@" "$payload/usr/bin"
	cp "$KTLS_KERNEL/base.cpio" "$initrd.new"
	(cd "$payload" && archive) >>"$initrd.new"
	rm -rf "$payload"
	mv "$initrd.new" "$initrd"
}

# The first serial port is the kernel's, so that nothing of it gets into the program's lines, which
# leave by the second. A kernel that panics ends the machine at once. no_timer_check is for a busy
# host, which may emulate no tick while the kernel waits for one: it would panic. The rest makes the
# boot a second shorter.
boot() {
	local console=$1
	shift
	exec timeout --foreground --kill-after=5 "$KTLS_SECONDS" \
		qemu-system-x86_64 -machine pc -accel tcg,thread=multi -cpu max,la57=off -smp 2 -m 1024 \
		-no-user-config -nodefaults -display none -no-reboot \
		-serial "file:$console" -chardev stdio,id=program,signal=off -serial chardev:program \
		-kernel "$KTLS_KERNEL/vmlinuz" -initrd "$initrd" \
		-append "console=ttyS0 loglevel=5 no_timer_check nokaslr oops=panic panic=-1 KTLS_SUITE=$KTLS_SUITE KTLS_SECONDS=$KTLS_SECONDS KTLS_RELEASE=$(cat "$KTLS_KERNEL/release") $*" \
		</dev/null
}

[ $# -gt 0 ] || {
	sed -n '2,/^set -eu/{/^#/p}' "$0"
	exit 64
}
verb=$1
shift
case $verb in
kernel | image | boot) "$verb" "$@" ;;
*) die "unknown verb \"$verb\"" ;;
esac
