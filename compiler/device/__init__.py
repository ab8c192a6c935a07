"""Everything that opens a device through ttnn, or stands in for one."""
