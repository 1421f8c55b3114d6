//! Healthy programs: none of them fails its test, however busy the machine.
