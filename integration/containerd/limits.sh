part_limits() { :; }
cri_packages() { :; }
