"""The registry of installed components: discovery, specs, statuses, and choice by name with checked options."""
