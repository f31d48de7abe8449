part_errors() { :; }
cri_packages() { :; }
