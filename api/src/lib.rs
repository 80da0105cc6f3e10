//! The serving half: REST, stream and page over gold's readers. It never writes a table.
