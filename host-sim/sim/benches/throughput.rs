//! How many requests a second the simulator plays. Written as a plain program: `cargo bench --profile release -p
//! traffic-sim` runs it with the usual profile.

fn main() {}
