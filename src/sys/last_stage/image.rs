//! Lays out the plan of the last stage and wraps it, with the program, into an executable memfd.
//!
//! The file is: ELF header and program headers | text | (page boundary) plan. The plan is the second
//! loaded segment, so the program finds it in memory without reading a descriptor, and its argument
//! vector and environment are already in execve's form.

use super::layout::{HEADERS, Hook, IMAGE_ADDRESS, PLAN_ADDRESS, Plan};

/// The flat text of program.rs, linked at `IMAGE_ADDRESS + HEADERS`.
pub static TEXT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/last_stage.bin"));

/// The largest page of the architecture: the kernel maps a segment only where offset and address are equal modulo its
/// own page size, and arm64 has kernels with 16 and 64 KiB.
const PAGE: usize = if cfg!(target_arch = "aarch64") { 65536 } else { 4096 };

/// Appends data behind the `Plan` header and hands out absolute addresses for the place where the whole
/// will lie.
pub struct Builder {
    base: u64,
    bytes: Vec<u8>,
}

impl Builder {
    /// `base`: where the first byte of the plan will be ([`PLAN_ADDRESS`] in the program).
    pub fn new(base: u64) -> Self {
        Self { base, bytes: vec![0; size_of::<Plan>()] }
    }

    fn align(&mut self) {
        let rest = self.bytes.len() % 8;
        if rest != 0 {
            self.bytes.resize(self.bytes.len() + 8 - rest, 0);
        }
    }

    fn here(&self) -> u64 {
        self.base + self.bytes.len() as u64
    }

    pub fn bytes(&mut self, data: &[u8]) -> u64 {
        self.align();
        let at = self.here();
        self.bytes.extend_from_slice(data);
        at
    }

    /// A NUL-terminated string; the caller has refused NUL inside.
    pub fn string(&mut self, text: &str) -> u64 {
        let at = self.here();
        self.bytes.extend_from_slice(text.as_bytes());
        self.bytes.push(0);
        at
    }

    /// A NULL-terminated array of strings, as execve takes it.
    pub fn strings<S: AsRef<str>>(&mut self, texts: &[S]) -> u64 {
        let mut addresses: Vec<u64> = texts.iter().map(|text| self.string(text.as_ref())).collect();
        addresses.push(0);
        self.words(&addresses)
    }

    pub fn words(&mut self, words: &[u64]) -> u64 {
        self.align();
        let at = self.here();
        for word in words {
            self.bytes.extend_from_slice(&word.to_ne_bytes());
        }
        at
    }

    pub fn hooks(&mut self, hooks: &[Hook]) -> u64 {
        let words: Vec<u64> =
            hooks.iter().flat_map(|hook| [hook.path, hook.argv, hook.envp, hook.timeout]).collect();
        self.words(&words)
    }

    /// The finished plan; `header` goes to its front.
    pub fn finish(mut self, header: &Plan) -> Vec<u8> {
        let head = header_bytes(header);
        self.bytes[..head.len()].copy_from_slice(head);
        self.bytes
    }
}

fn header_bytes(plan: &Plan) -> &[u8] {
    // Its 4-byte fields come in pairs.
    const { assert!(size_of::<Plan>() == 20 * 8 + 8 * 4) };
    // SAFETY: Plan is repr(C), its fields fill its size (asserted above), so there is no padding; it is fully
    // initialised, and borrowed for as long as the slice.
    unsafe { std::slice::from_raw_parts((plan as *const Plan).cast::<u8>(), size_of::<Plan>()) }
}

/// The executable file: headers, text, plan (laid out for [`PLAN_ADDRESS`]).
pub fn executable(plan: &[u8]) -> Vec<u8> {
    let text_end = HEADERS as usize + TEXT.len();
    let plan_at = text_end.div_ceil(PAGE) * PAGE;
    let mut file = Vec::with_capacity(plan_at + plan.len());
    file.extend_from_slice(&elf_header());
    let segments = [
        // type, flags, offset, address, size: text R+X, plan R+W, and a stack that cannot be executed.
        (1u32, 5u32, 0u64, IMAGE_ADDRESS, text_end as u64),
        (1, 6, plan_at as u64, PLAN_ADDRESS, plan.len() as u64),
        (0x6474_e551, 6, 0, 0, 0),
    ];
    for (kind, flags, offset, address, size) in segments {
        file.extend_from_slice(&kind.to_ne_bytes());
        file.extend_from_slice(&flags.to_ne_bytes());
        for word in [offset, address, address, size, size, PAGE as u64] {
            file.extend_from_slice(&word.to_ne_bytes());
        }
    }
    file.resize(HEADERS as usize, 0);
    file.extend_from_slice(TEXT);
    file.resize(plan_at, 0);
    file.extend_from_slice(plan);
    file
}

/// elf(5): 64-bit, native byte order, ET_EXEC, entry at the first byte of the text, headers right behind.
fn elf_header() -> Vec<u8> {
    const MACHINE: u16 = if cfg!(target_arch = "aarch64") { 183 } else { 62 };
    let mut header = vec![0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    header.extend_from_slice(&2u16.to_ne_bytes());
    header.extend_from_slice(&MACHINE.to_ne_bytes());
    header.extend_from_slice(&1u32.to_ne_bytes());
    for word in [IMAGE_ADDRESS + HEADERS, 64, 0] {
        header.extend_from_slice(&word.to_ne_bytes());
    }
    header.extend_from_slice(&0u32.to_ne_bytes());
    for half in [64u16, 56, 3, 64, 0, 0] {
        header.extend_from_slice(&half.to_ne_bytes());
    }
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_laid_out_for_execve() {
        let mut builder = Builder::new(PLAN_ADDRESS);
        let argv = builder.strings(&["a", "bc"]);
        let bytes = builder.finish(&Plan::default());
        let at = (argv - PLAN_ADDRESS) as usize;
        let word = |n: usize| {
            let mut word = [0; 8];
            word.copy_from_slice(&bytes[at + n * 8..at + n * 8 + 8]);
            u64::from_ne_bytes(word)
        };
        let first = (word(0) - PLAN_ADDRESS) as usize;
        let second = (word(1) - PLAN_ADDRESS) as usize;
        assert_eq!((&bytes[first..first + 2], &bytes[second..second + 3]), (&b"a\0"[..], &b"bc\0"[..]));
        assert_eq!(word(2), 0);
    }

    #[test]
    fn the_image_is_small_and_its_headers_fit() {
        let file = executable(&[0; 64]);
        assert_eq!(elf_header().len(), 64);
        const { assert!(64 + 3 * 56 <= HEADERS) };
        assert!(TEXT.len() < 2 * PAGE, "text is {} bytes", TEXT.len());
        assert_eq!(file.len() % PAGE, 64);
    }
}
