//! PNGs a fifth as large: pages have few colours, so a palette does.

use std::collections::HashMap;
use std::io::Cursor;

use png::{BitDepth, ColorType, Compression, Decoder, Encoder};

/// The picture with at most 256 colours. Where it has more, the others become the nearest of these.
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
    let palette = palette_of(&colours);
    let mut known: HashMap<[u8; 3], u8> = HashMap::new();
    let place = |place| u8::try_from(place).expect("at most 256 colours");
    let indices: Vec<u8> = colours
        .iter()
        .map(|colour| *known.entry(*colour).or_insert_with(|| place(nearest(&palette, *colour))))
        .collect();
    encoded(info.width, info.height, &palette, &indices)
}

/// How many of the palette's colours are those that are seen most.
const SEEN_MOST: usize = 176;
/// A colour of fewer points than this is the edge of a letter.
const A_FEW_POINTS: usize = 8;

/// At most 256 colours: those that are seen most, and of the others those that are least like any of them. A state's colour may be seen in
/// one small word, and must not become that of another state.
fn palette_of(colours: &[[u8; 3]]) -> Vec<[u8; 3]> {
    let mut counts: HashMap<[u8; 3], usize> = HashMap::new();
    for colour in colours {
        *counts.entry(*colour).or_default() += 1;
    }
    let mut seen: Vec<([u8; 3], usize)> = counts.into_iter().collect();
    seen.sort_unstable_by_key(|(colour, count)| (std::cmp::Reverse(*count), *colour));
    let rest = seen.split_off(seen.len().min(SEEN_MOST));
    let mut palette: Vec<[u8; 3]> = seen.into_iter().map(|(colour, _)| colour).collect();
    let rest = rest.into_iter().filter(|(_, count)| *count >= A_FEW_POINTS);
    let mut rest: Vec<([u8; 3], u32)> =
        rest.map(|(colour, _)| (colour, apart(&palette[nearest(&palette, colour)], colour))).collect();
    while palette.len() < 256 {
        let Some(place) = (0..rest.len()).max_by_key(|place| rest[*place].1) else { break };
        let (farthest, _) = rest.swap_remove(place);
        palette.push(farthest);
        for (colour, least) in &mut rest {
            *least = (*least).min(apart(&farthest, *colour));
        }
    }
    palette
}

/// How unlike two colours are.
fn apart(one: &[u8; 3], other: [u8; 3]) -> u32 {
    one.iter().zip(other).map(|(one, other)| u32::from(one.abs_diff(other)).pow(2)).sum()
}

/// The place in the palette of the colour that is nearest.
fn nearest(palette: &[[u8; 3]], colour: [u8; 3]) -> usize {
    (0..palette.len()).min_by_key(|place| apart(&palette[*place], colour)).expect("a picture has colours")
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
