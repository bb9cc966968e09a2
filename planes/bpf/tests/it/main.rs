//! Steering in real kernels: each test has a network namespace and a BPF file system of its own. They need root, `ip`,
//! `ss` and `nft`, and fail without them.

mod lab;
mod privileges;
mod restart;
mod steering;
mod tproxy;
