# lsm-selinux.sh, sourced by lsm.sh: SELinux with Debian's policy and a module of our own.

# The types of the tests: vmbox_t may do everything but touch vmbox_hidden_t; nobody may become vmbox_never_t.
selinux_module() {
    cat >"$work/vmbox.cil" <<-'CIL'
	(type vmbox_t)
	(type vmbox_file_t)
	(type vmbox_hidden_t)
	(type vmbox_never_t)
	(roletype system_r vmbox_t)
	(roletype system_r vmbox_never_t)
	(roletype object_r vmbox_file_t)
	(roletype object_r vmbox_hidden_t)
	(typeattribute vmbox_reach)
	(typeattributeset vmbox_reach (and (all) (not (vmbox_hidden_t vmbox_never_t))))
	CIL
}

selinux_cases() { :; }
selinux_off() { :; }
