#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    restic_manager_fuzz::body("duty_trace")(data);
});
