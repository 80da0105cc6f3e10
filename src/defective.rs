//! The product with the planted defect that `WEIR_DEFECT` names: tests prove that they notice it.

fn main() -> std::process::ExitCode {
    weir::main()
}
