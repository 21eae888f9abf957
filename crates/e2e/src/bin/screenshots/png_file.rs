//! PNGs a fifth as large: pages have few colours, so a palette does.

use std::collections::HashMap;
use std::io::Cursor;

use png::{BitDepth, ColorType, Compression, Decoder, Encoder};

/// The picture with at most 256 colours. Where it has more, neighbours of a colour are taken together, as few as will do.
pub(super) fn shrunk(png: &[u8]) -> Vec<u8> {
    let mut reader = Decoder::new(Cursor::new(png)).read_info().expect("Chromium writes PNGs");
    let mut pixels = vec![0; reader.output_buffer_size().expect("a picture fits into memory")];
    let info = reader.next_frame(&mut pixels).expect("a whole picture");
    let step = match info.color_type {
        ColorType::Rgb => 3,
        ColorType::Rgba => 4,
        ColorType::Grayscale | ColorType::GrayscaleAlpha | ColorType::Indexed => return png.to_vec(),
    };
    let colours = pixels[..info.buffer_size()].chunks_exact(step).map(|pixel| [pixel[0], pixel[1], pixel[2]]);
    let colours: Vec<[u8; 3]> = colours.collect();
    let (palette, indices) =
        (0..6).find_map(|bits| indexed(&colours, bits)).expect("two bits of each colour make 64");
    encoded(info.width, info.height, &palette, &indices)
}

/// Palette and pixels when the low `bits` of each colour are not told apart; none when that still makes too many.
fn indexed(colours: &[[u8; 3]], bits: u32) -> Option<(Vec<[u8; 3]>, Vec<u8>)> {
    let mut palette: Vec<[u8; 3]> = Vec::new();
    let mut known: HashMap<[u8; 3], u8> = HashMap::new();
    let mut indices = Vec::with_capacity(colours.len());
    for colour in colours {
        let cell = colour.map(|part| part >> bits);
        let index = match known.get(&cell) {
            Some(index) => *index,
            None => {
                let index = u8::try_from(palette.len()).ok()?;
                // The first of its neighbours stands for all: grounds come before the edges of letters.
                palette.push(*colour);
                known.insert(cell, index);
                index
            }
        };
        indices.push(index);
    }
    Some((palette, indices))
}

fn encoded(width: u32, height: u32, palette: &[[u8; 3]], indices: &[u8]) -> Vec<u8> {
    let mut file = Vec::new();
    let mut encoder = Encoder::new(&mut file, width, height);
    encoder.set_color(ColorType::Indexed);
    encoder.set_depth(BitDepth::Eight);
    encoder.set_palette(palette.concat());
    encoder.set_compression(Compression::High);
    let mut writer = encoder.write_header().expect("a header");
    writer.write_image_data(indices).expect("a picture");
    writer.finish().expect("an end");
    file
}
