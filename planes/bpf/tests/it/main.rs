//! Steering in real kernels: each test has a network namespace and a BPF file system of its own. They need root and
//! fail without it.

mod lab;
mod privileges;
mod restart;
mod steering;
