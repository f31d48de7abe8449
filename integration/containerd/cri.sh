part_cri() { :; }
cri_packages() { :; }
