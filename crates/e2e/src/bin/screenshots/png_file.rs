//! PNGs a fifth as large: pages have few colours, so a palette does.

use std::collections::HashMap;
use std::io::Cursor;

use png::{BitDepth, ColorType, Compression, Decoder, Encoder};

/// The picture with at most 256 colours. Where it has more, those that are seen least (edges of letters) become the nearest of the others.
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
    let palette = most_seen(&colours);
    let mut known: HashMap<[u8; 3], u8> = HashMap::new();
    let indices: Vec<u8> = colours
        .iter()
        .map(|colour| *known.entry(*colour).or_insert_with(|| nearest(&palette, *colour)))
        .collect();
    encoded(info.width, info.height, &palette, &indices)
}

/// The colours that are seen most, at most 256.
fn most_seen(colours: &[[u8; 3]]) -> Vec<[u8; 3]> {
    let mut counts: HashMap<[u8; 3], usize> = HashMap::new();
    for colour in colours {
        *counts.entry(*colour).or_default() += 1;
    }
    let mut seen: Vec<([u8; 3], usize)> = counts.into_iter().collect();
    seen.sort_unstable_by_key(|(colour, count)| (std::cmp::Reverse(*count), *colour));
    seen.into_iter().take(256).map(|(colour, _)| colour).collect()
}

/// The place in the palette of the colour that is nearest.
fn nearest(palette: &[[u8; 3]], colour: [u8; 3]) -> u8 {
    let distance = |other: &[u8; 3]| -> u32 {
        other.iter().zip(colour).map(|(one, two)| u32::from(one.abs_diff(two)).pow(2)).sum()
    };
    let place =
        (0..palette.len()).min_by_key(|place| distance(&palette[*place])).expect("a picture has colours");
    u8::try_from(place).expect("at most 256 colours")
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
