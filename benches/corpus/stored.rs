//! A frame of zstd that packs nothing: what may be read as one, where only its name and first bytes matter.

/// No encoder is among the crates here; raw blocks need none.
pub(crate) fn frame(bytes: &[u8]) -> Vec<u8> {
    const BLOCK_BYTES: usize = 128 << 10;
    // Magic number, a descriptor without checksum, and a window of 128 KiB.
    let mut out = vec![0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x38];
    let count = bytes.len().div_ceil(BLOCK_BYTES).max(1);
    for at in 0..count {
        let block = &bytes[at * BLOCK_BYTES..bytes.len().min((at + 1) * BLOCK_BYTES)];
        // Three bytes: whether it is the last one, type raw (0), and the size.
        let header = (block.len() << 3) | usize::from(at + 1 == count);
        out.extend_from_slice(&header.to_le_bytes()[..3]);
        out.extend_from_slice(block);
    }
    out
}
