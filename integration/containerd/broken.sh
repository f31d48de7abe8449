part_broken() { :; }
cri_packages() { :; }
