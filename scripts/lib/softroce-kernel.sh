# shellcheck shell=bash
# The test VM's kernel and initramfs, made once and kept in the cache. Sourced by softroce.
#
#   $CACHE/linux-6.12/             vmlinuz, release, lib/modules/RELEASE: Debian's package, unpacked
#   $CACHE/initramfs-RELEASE-HASH  busybox, our init, the modules it needs in the order it needs them
#   $CACHE/accel-HOSTKERNEL        "kvm" or "tcg": what was found to work on this machine
#
# A process that makes something holds the lock, and makes it elsewhere before it is renamed into place:
# what exists under its name is complete, and several softroce may run at once.

# What the guest needs beyond what it can load by itself later. kmod adds the dependencies.
# crc32_generic: rdma_rxe asks the crypto layer for it by name, so no dependency mentions it.
GUEST_MODULES=(crc32_generic crc32c_generic virtio_pci virtio_console 9p 9pnet_virtio overlay
	rdma_rxe rdma_ucm ib_uverbs dummy virtio_net
	sch_netem nf_tables nft_ct nft_limit)

# Large and useless in a VM without hardware.
SKIPPED_DRIVERS=(gpu media scsi usb staging iio hwmon input bluetooth mtd ata md isdn video
	net/ethernet net/wireless platform thunderbolt target leds power regulator)

with_cache_lock() {
	(
		flock 9
		"$@"
	) 9>"$CACHE/lock"
}

# newest_package 6.12: the name of Debian's newest package of that series; no cloud, no rt.
newest_package() {
	apt-cache search --names-only "^linux-image-${1//./[.]}[.][0-9a-z.+~]*(-[0-9]+)?-amd64-unsigned\$" |
		cut -d' ' -f1 | sort -V | tail -n1
}

fetch_kernel() {
	local series=$1 package work skip=() driver
	[[ -e $CACHE/linux-$series ]] && return
	package=$(newest_package "$series")
	if [[ -z $package && $EUID == 0 ]]; then
		note "reading apt's package lists"
		apt-get -qq -o DPkg::Lock::Timeout=600 update >/dev/null 2>&1 || true
		package=$(newest_package "$series")
	fi
	[[ $package ]] ||
		die "apt knows no Debian kernel $series (linux-image-$series*-amd64-unsigned); run apt-get update as root, check the network"
	work=$(mktemp -d "$CACHE/tmp.XXXXXX")
	note "downloading $package (once)"
	(cd "$work" && apt-get -qq -o APT::Sandbox::User=root download "$package" >log 2>&1) ||
		die "cannot download $package: $(grep -m1 '^E:' "$work/log"; rm -rf "$work"); check the network"

	for driver in "${SKIPPED_DRIVERS[@]}"; do
		skip+=(--exclude="./lib/modules/*/kernel/drivers/$driver")
	done
	dpkg-deb --fsys-tarfile "$work"/*.deb |
		tar -x -C "$work" "${skip[@]}" --exclude='./lib/modules/*/kernel/sound' ./boot ./lib
	rm "$work"/*.deb "$work/log"
	mv "$work"/boot/vmlinuz-* "$work/vmlinuz"
	rm -r "${work:?}/boot"
	basename "$work"/lib/modules/* >"$work/release"
	depmod -b "$work" "$(<"$work/release")"
	chmod 755 "$work"
	mv -T "$work" "$CACHE/linux-$series"
}

# The files of all modules the guest loads, dependencies first, each once.
module_files() {
	local root=$1 release=$2
	modprobe -a -C /dev/null -d "$root" -S "$release" --show-depends "${GUEST_MODULES[@]}" |
		awk '$1 == "insmod" && !seen[$2]++ { print $2 }'
}

make_initramfs() {
	local kernel=$1 release=$2 target=$3 work tree file name
	[[ -e $target ]] && return
	note "making the initramfs of Linux $release (once)"
	find "$CACHE" -maxdepth 1 -name 'initramfs-*' -mtime +7 -delete
	work=$(mktemp -d "$CACHE/tmp.XXXXXX")
	tree=$work/tree
	mkdir -p "$tree"/{bin,modules,proc,sys,dev,lower,upper,root}
	cp "$(command -v busybox)" "$tree/bin/busybox"
	cp "$LIB/softroce-init" "$tree/init"
	chmod 755 "$tree/init"
	# Plain modules: unpacking here is quicker than in an emulated machine.
	while read -r file; do
		name=${file##*/}
		case $file in
		*.xz) xz -dc "$file" >"$tree/modules/${name%.xz}" ;;
		*) cp "$file" "$tree/modules/$name" ;;
		esac
		case $name in
		dummy.ko*) echo "dummy.ko numdummies=0" ;;
		*) echo "${name%.xz}" ;;
		esac
	done < <(module_files "$kernel" "$release") >"$tree/modules/order"
	(cd "$tree" && find . | cpio --quiet -o -H newc -R 0:0) >"$work/cpio"
	mv "$work/cpio" "$target"
	rm -rf "$work"
}

# Sets KERNEL, RELEASE and INITRAMFS for a kernel series, making what is missing.
prepare_kernel() {
	local series=$1 hash
	mkdir -p "$CACHE" 2>/dev/null || die "cannot create $CACHE; set XDG_CACHE_HOME to a writable folder"
	KERNEL=$CACHE/linux-$series
	[[ -e $KERNEL ]] || with_cache_lock fetch_kernel "$series" || exit
	RELEASE=$(<"$KERNEL/release")
	hash=$(cat "$LIB/softroce-init" "$LIB/softroce-kernel.sh" | sha256sum)
	INITRAMFS=$CACHE/initramfs-$RELEASE-${hash:0:12}
	[[ -e $INITRAMFS ]] || with_cache_lock make_initramfs "$KERNEL" "$RELEASE" "$INITRAMFS" || exit
}

# /dev/kvm may be there and still be unable to run a guest (or hang): ask a real one to start.
kvm_works() {
	[[ -r /dev/kvm && -w /dev/kvm ]] || return
	timeout -k 1 8 setsid "${QEMU_COMMAND[@]}" -accel kvm -cpu host "${QEMU_PLAIN[@]}" -m 512 \
		-kernel "$KERNEL/vmlinuz" -initrd "$INITRAMFS" -append "$KERNEL_ARGS softroce_probe=1" \
		-chardev stdio,id=console -serial null -serial chardev:console </dev/null 2>/dev/null |
		grep -q 'softroce: alive'
}

try_kvm() {
	[[ -e $1 ]] && return
	note "trying /dev/kvm (once)"
	if kvm_works; then echo kvm >"$1.tmp"; else echo tcg >"$1.tmp"; fi
	mv "$1.tmp" "$1"
}

# Sets ACCEL.
choose_accelerator() {
	local memory
	memory=$CACHE/accel-$(uname -r)
	ACCEL=tcg
	[[ -r /dev/kvm && -w /dev/kvm ]] || return 0
	[[ -e $memory ]] || with_cache_lock try_kvm "$memory"
	# shellcheck disable=SC2034 # softroce-vm.sh uses it
	ACCEL=$(<"$memory")
}
