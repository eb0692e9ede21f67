"""The gate's stages, one file each: each looks at a case and proceeds, or says what becomes of it and why."""
