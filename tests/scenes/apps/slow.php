<?php
// Says that it works, then takes for ever.
touch($_SERVER['WORKING']);
sleep(3600);
