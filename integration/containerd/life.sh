part_life() { :; }
cri_packages() { :; }
