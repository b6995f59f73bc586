"""Why can't people log in? Asked step by step, of this site and of the live networks."""
